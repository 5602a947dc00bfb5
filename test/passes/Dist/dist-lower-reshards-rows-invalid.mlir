// RUN: saddle-opt %s --dist-lower-reshards=rows=blocks --verify-diagnostics

// Attention replicas bring different numbers of tokens: blocks cannot say so.
// expected-error @+1 {{rows must be packed or padded, but got "blocks"}}
module {
  dist.mesh @mesh ["tp" = 4]
}
