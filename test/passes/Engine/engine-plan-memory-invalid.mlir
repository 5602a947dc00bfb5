// RUN: not saddle-opt %s --engine-plan-memory=alignment=48 2>&1 | FileCheck %s --check-prefix=ODD
// RUN: not saddle-opt %s --engine-plan-memory=alignment=0 2>&1 | FileCheck %s --check-prefix=ZERO
// RUN: not saddle-opt %s --engine-plan-memory=alignment=-64 2>&1 | FileCheck %s --check-prefix=NEGATIVE

// ODD: error: alignment must be a power of two, but got 48
// ZERO: error: alignment must be a power of two, but got 0
// NEGATIVE: error: alignment must be a power of two, but got -64
engine.arena @weights constant bytes 0 align 1
