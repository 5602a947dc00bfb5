// RUN: saddle-opt %s --model-verify-input --split-input-file --verify-diagnostics

// expected-error @+1 {{module has no 'model.config' attribute}}
module {
}

// -----

// expected-error @+1 {{module has no 'model.limits' attribute}}
module attributes {model.config = {}} {
}

// -----

// expected-error @+1 {{module has no function @step}}
module attributes {model.config = {}, model.limits = {max_batch = 4, max_seq_len = 64, prefill_chunk = 8, page_size = 16}} {
}

// -----

module attributes {model.config = {}, model.limits = {max_batch = 4, max_seq_len = 64, prefill_chunk = 8, page_size = 16}} {
  // expected-error @+1 {{expected @step, and perhaps functions of other programs ('model.program'), but got @decode_1}}
  func.func @decode_1() {
    return
  }
}

// -----

module attributes {model.config = {}, model.limits = {max_batch = 4, max_seq_len = 64, prefill_chunk = 8, page_size = 16}} {
  func.func @step() {
    return
  }
  // expected-error @+1 {{expected @step, and perhaps functions of other programs ('model.program'), but got @helper}}
  func.func @helper() {
    return
  }
}

// -----

module attributes {model.config = {}, model.limits = {max_batch = 4, max_seq_len = 64, prefill_chunk = 8, page_size = 16}} {
  // expected-error @+1 {{function @step has no body}}
  func.func private @step(tensor<?xi32>)
}

// -----

module attributes {model.config = {}, model.limits = {max_batch = 4, max_seq_len = 64, prefill_chunk = 8, page_size = 16}} {
  // expected-error @+1 {{function @step has more than one block; expected straight-line code}}
  func.func @step() {
    return
  ^unreachable:
    return
  }
}

// -----

module attributes {model.config = {}, model.limits = {max_batch = 4, max_seq_len = 64, prefill_chunk = 8, page_size = 16}} {
  // A mesh belongs to a later level.
  // expected-error @+1 {{op 'dist.mesh' is not allowed in a model module}}
  dist.mesh @mesh ["tp" = 2]
  func.func @step() {
    return
  }
}

// -----

module attributes {model.config = {}, model.limits = {max_batch = 4, max_seq_len = 64, prefill_chunk = 8, page_size = 16}} {
  func.func @step(%x: tensor<?x32xbf16>) -> tensor<?x32xbf16> {
    // expected-error @+1 {{op 'kernel.group' is not a model op}}
    %y = kernel.group "twice" (%a = %x) : (tensor<?x32xbf16>) -> tensor<?x32xbf16> {
      %0 = model.add %a, %a : tensor<?x32xbf16>
      %1 = model.add %0, %0 : tensor<?x32xbf16>
      kernel.yield %1 : tensor<?x32xbf16>
    }
    return %y : tensor<?x32xbf16>
  }
}

// -----

module attributes {model.config = {}, model.limits = {max_batch = 4, max_seq_len = 64, prefill_chunk = 8, page_size = 16}} {
  // Its bytes would be read from the checkpoint by nobody.
  // expected-error @+1 {{weight @forgotten is never used}}
  model.weight @forgotten from "forgotten" dims ["hidden"] : tensor<32xbf16>
  func.func @step() {
    return
  }
}
