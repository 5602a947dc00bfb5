// RUN: saddle-opt %s --split-input-file --verify-diagnostics --model-sink-rms-factors

// A decode without a factor that could wait: the user asked for something that this model has not.
// expected-error @+1 {{rms-factors = sunk has no effect: no decode divides by a norm's root mean square in front of a gate and a product, as layers of linear attention do; leave it at reference}}
module {
  func.func @no_gate(%x: tensor<1x4xf32>) -> tensor<1x4xf32> attributes {model.phase = "decode"} {
    return %x : tensor<1x4xf32>
  }
}

// -----

// Nothing to say of what has no decode yet.
module {
  func.func private @declared(tensor<1x4xf32>) -> tensor<1x4xf32> attributes {model.phase = "decode"}
  func.func @prompts(%x: tensor<8x4xf32>) -> tensor<8x4xf32> attributes {model.phase = "prefill"} {
    return %x : tensor<8x4xf32>
  }
}
