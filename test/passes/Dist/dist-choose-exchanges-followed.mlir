// RUN: saddle-opt %s --split-input-file --dist-choose-exchanges=reduction=reduce_scatter --verify-diagnostics
// RUN: not saddle-opt %s --split-input-file --dist-choose-exchanges="reduction=all_reduce experts=masked" 2>&1 | FileCheck %s --check-prefix=ALONE
// RUN: not saddle-opt %s --split-input-file --dist-choose-exchanges="reduction=deferred target=sm_90a" 2>&1 | FileCheck %s --check-prefix=DEVICE

// A wish that some entries follow is a warning about the others, one that none
// follows an error. Two ranks cannot share one token, nor three.

// DEVICE: error: reduction = deferred has no effect: no entry can follow it (@decode_1: no launch of sm_90a finishes a sum and adds; and 2 more); leave it at auto

// expected-warning @+1 {{reduction = reduce_scatter is not followed everywhere (@decode_1: 1 tokens cannot be split over tp = 2; and 1 more)}}
module attributes {dist.topology = {tp = 2, dp = 1, ep = 1, pp = 1}} {
dist.mesh @mesh ["tp" = 2]
// expected-remark @+2 {{reduction = deferred, although reduce_scatter was asked for}}
// expected-remark @+1 {{experts = masked}}
func.func @decode_1(%x: tensor<1x8xbf16>, %y: tensor<1x8xbf16>) -> tensor<1x8xbf16> {
  %a = model.add %x, %y : tensor<1x8xbf16>
  return %a : tensor<1x8xbf16>
}
// expected-remark @+3 {{reduction = reduce_scatter, asked for}}
// expected-remark @+2 {{experts = gathered}}
// expected-remark @+1 {{norm = }}
func.func @decode_2(%x: tensor<2x8xbf16>, %y: tensor<2x8xbf16>) -> tensor<2x8xbf16> {
  %a = model.add %x, %y : tensor<2x8xbf16>
  return %a : tensor<2x8xbf16>
}
// expected-remark @+2 {{reduction = deferred, although reduce_scatter was asked for}}
// expected-remark @+1 {{experts = masked}}
func.func @decode_3(%x: tensor<3x8xbf16>, %y: tensor<3x8xbf16>) -> tensor<3x8xbf16> {
  %a = model.add %x, %y : tensor<3x8xbf16>
  return %a : tensor<3x8xbf16>
}
}

// -----

// One rank has nobody to meet.
// ALONE: error: reduction = all_reduce has no effect: no entry can follow it (@decode_1: one rank meets nobody); leave it at auto
// ALONE: error: experts = masked has no effect: no entry can follow it (@decode_1: one rank meets nobody); leave it at auto

// expected-error @+1 {{reduction = reduce_scatter has no effect: no entry can follow it (@decode_1: one rank meets nobody); leave it at auto}}
module attributes {dist.topology = {tp = 1, dp = 1, ep = 1, pp = 1}} {
dist.mesh @mesh ["tp" = 1]
func.func @decode_1(%x: tensor<1x8xbf16>, %y: tensor<1x8xbf16>) -> tensor<1x8xbf16> {
  %a = model.add %x, %y : tensor<1x8xbf16>
  return %a : tensor<1x8xbf16>
}
}
