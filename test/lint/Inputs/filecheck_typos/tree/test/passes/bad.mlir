// RUN: saddle-opt %s | FileCheck %s
// RUN: saddle-opt %s | FileCheck %s \
// RUN:   --check-prefixes=FUSED,SPLIT-UP

// CHECK-LABEL: a good one
// CHECK-SAME a bad one
// CHECK: good
// CHECK : bad
// CHECK-NXT: bad
// CHECK-COUNT-2: good
// CHECK-COUNT-2 bad
// CHECK-SAME{LITERAL}: good
// FUSED-NEXT bad
// SPLIT-UP: good
// SPLIT-UP-NOT bad
// OTHER-NEXT no prefix of this file
// A sentence about CHECK-NEXT in the middle is good.
