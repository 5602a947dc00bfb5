// RUN: saddle-opt %s --dist-lower-reshards --verify-diagnostics

module {
  dist.mesh @mesh ["tp" = 4]
  // Attention replicas bring different numbers of tokens: blocks cannot say so.
  // expected-error @+1 {{'dist.choices' rows must be packed or padded, but got "blocks"}}
  func.func @f() attributes {dist.choices = {rows = "blocks"}} {
    return
  }
}
