// RUN: saddle-opt %s --model-specialize-buckets="buckets=2,9" --split-input-file --verify-diagnostics
// RUN: not saddle-opt %s --model-specialize-buckets="buckets=0" --split-input-file 2>&1 | FileCheck %s
// RUN: not saddle-opt %s --model-specialize-buckets="buckets=2,4" --split-input-file 2>&1 | FileCheck %s --check-prefix=SMALL
// SMALL: error: expected the largest decode bucket to be max_batch = 8, so that a step of all sequences has an entry, but got 4

// A bucket is a number of sequences in flight.
// CHECK: error: expected decode buckets from 1 to max_batch = 8, but got 0
// expected-error @+1 {{expected decode buckets from 1 to max_batch = 8, but got 9}}
module attributes {model.limits = {max_batch = 8, max_seq_len = 64, prefill_chunk = 64, page_size = 16}} {
  func.func @step() {
    return
  }
}

// -----

// expected-error @+1 {{module has no 'model.limits' attribute}}
module {
  func.func @step() {
    return
  }
}

// -----

// expected-error @+1 {{module has no function @step}}
module attributes {model.limits = {max_batch = 8, max_seq_len = 64, prefill_chunk = 64, page_size = 16}} {
}
