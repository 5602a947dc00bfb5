// RUN: saddle-opt %s --dist-expand-replicas --verify-diagnostics

// expected-error @+1 {{module has no 'dist.topology'; run dist-attach-mesh first}}
module {
}
