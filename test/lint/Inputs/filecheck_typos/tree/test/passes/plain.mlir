// RUN: saddle-opt %s -verify-diagnostics
// CHECK-NEXT without FileCheck is a comment.
