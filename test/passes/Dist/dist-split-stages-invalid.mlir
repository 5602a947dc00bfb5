// RUN: saddle-opt %s --split-input-file --dist-split-stages --verify-diagnostics

// expected-error @+1 {{module has no 'dist.topology'; run dist-attach-mesh first}}
module {
}

// -----

module attributes {dist.topology = {tp = 1, dp = 1, ep = 1, pp = 3}} {
// expected-error @+1 {{num_hidden_layers = 1 cannot be dealt over pp = 3 stages, at least one layer each; legal pp: 1 to 1}}
func.func @fewer_layers_than_stages(%x: tensor<1x32xf32>) -> tensor<1x32xf32> {
  %0 = model.layer_boundary %x layer 0 : tensor<1x32xf32>
  return %0 : tensor<1x32xf32>
}
}

// -----

// The embedding of stage 0 is read again in stage 1.
module attributes {dist.topology = {tp = 1, dp = 1, ep = 1, pp = 2}} {
func.func @a_second_value_crosses(%x: tensor<1x32xf32>) -> tensor<1x32xf32> {
  %0 = model.layer_boundary %x layer 0 : tensor<1x32xf32>
  %s = model.add %0, %0 : tensor<1x32xf32>
  %1 = model.layer_boundary %s layer 1 : tensor<1x32xf32>
  // expected-error @+1 {{value crosses a stage boundary beside the residual stream}}
  %t = model.add %1, %s : tensor<1x32xf32>
  return %t : tensor<1x32xf32>
}
}

// -----

// Boundaries that are not numbered from 0.
module attributes {dist.topology = {tp = 1, dp = 1, ep = 1, pp = 2}} {
// expected-error @+1 {{expected boundaries of layers 0 to 1, but found 0 of the cuts}}
func.func @boundaries_out_of_order(%x: tensor<1x32xf32>) -> tensor<1x32xf32> {
  %0 = model.layer_boundary %x layer 4 : tensor<1x32xf32>
  %1 = model.layer_boundary %0 layer 5 : tensor<1x32xf32>
  return %1 : tensor<1x32xf32>
}
}
