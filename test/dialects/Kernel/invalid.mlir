// RUN: saddle-opt %s -split-input-file -verify-diagnostics

// One function for each constraint of KernelOps.td, named after it. Further
// cases of one constraint have a word behind the id.

func.func @group_c1(%x: tensor<8x32xf32>) {
  // expected-error @+1 {{expected body arguments like the operands, but got 'tensor<4x32xf32>' for 'tensor<8x32xf32>'}}
  %y = "kernel.group"(%x) <{signature = "g"}> ({
  ^bb0(%a: tensor<4x32xf32>):
    %0 = model.add %a, %a : tensor<4x32xf32>
    %1 = model.add %0, %0 : tensor<4x32xf32>
    "kernel.yield"(%1) : (tensor<4x32xf32>) -> ()
  }) : (tensor<8x32xf32>) -> tensor<4x32xf32>
  return
}

// -----

func.func @group_c1_count(%x: tensor<8x32xf32>) {
  // expected-error @+1 {{expected 2 operands, but got 1}}
  %y = kernel.group "g" (%a = %x) : (tensor<8x32xf32>, tensor<8x32xf32>) -> tensor<8x32xf32> {
    %0 = model.add %a, %a : tensor<8x32xf32>
    %1 = model.add %0, %0 : tensor<8x32xf32>
    kernel.yield %1 : tensor<8x32xf32>
  }
  return
}

// -----

func.func @group_c2(%x: tensor<8x32xf32>) {
  // expected-error @+1 {{expected the body to yield 'tensor<8x32xf32>', 'tensor<8x32xf32>', but got 'tensor<8x32xf32>'}}
  %y:2 = kernel.group "g" (%a = %x) : (tensor<8x32xf32>) -> (tensor<8x32xf32>, tensor<8x32xf32>) {
    %0 = model.add %a, %a : tensor<8x32xf32>
    %1 = model.add %0, %0 : tensor<8x32xf32>
    kernel.yield %1 : tensor<8x32xf32>
  }
  return
}

// -----

func.func @group_c2_end(%x: tensor<8x32xf32>) {
  // expected-error @+1 {{expected the body to end with 'kernel.yield'}}
  %y = kernel.group "g" (%a = %x) : (tensor<8x32xf32>) -> tensor<8x32xf32> {
    %0 = model.add %a, %a : tensor<8x32xf32>
    %1 = model.add %0, %0 : tensor<8x32xf32>
    func.return %1 : tensor<8x32xf32>
  }
  return
}

// -----

func.func @group_c3(%x: tensor<8x32xf32>) {
  // expected-error @+1 {{expected at least two ops besides the yield}}
  %y = kernel.group "g" (%a = %x) : (tensor<8x32xf32>) -> tensor<8x32xf32> {
    %0 = model.add %a, %a : tensor<8x32xf32>
    kernel.yield %0 : tensor<8x32xf32>
  }
  return
}

// -----

func.func @group_c3_nested(%x: tensor<8x32xf32>) {
  // expected-error @+1 {{expected no group inside a group}}
  %y = kernel.group "g" (%a = %x) : (tensor<8x32xf32>) -> tensor<8x32xf32> {
    %0 = model.add %a, %a : tensor<8x32xf32>
    // expected-note @+1 {{inner group here}}
    %1 = kernel.group "h" (%b = %0) : (tensor<8x32xf32>) -> tensor<8x32xf32> {
      %2 = model.add %b, %b : tensor<8x32xf32>
      %3 = model.add %2, %2 : tensor<8x32xf32>
      kernel.yield %3 : tensor<8x32xf32>
    }
    kernel.yield %1 : tensor<8x32xf32>
  }
  return
}

// -----

func.func @yield_c1(%x: tensor<8x32xf32>) {
  // expected-error @+1 {{expects parent op 'kernel.group'}}
  kernel.yield %x : tensor<8x32xf32>
}

// -----

func.func @yield_c1_end(%x: tensor<8x32xf32>) {
  %y = kernel.group "g" (%a = %x) : (tensor<8x32xf32>) -> tensor<8x32xf32> {
    %0 = model.add %a, %a : tensor<8x32xf32>
    // expected-error @+1 {{must be the last operation in the parent block}}
    kernel.yield %0 : tensor<8x32xf32>
    %1 = model.add %0, %0 : tensor<8x32xf32>
    kernel.yield %1 : tensor<8x32xf32>
  }
  return
}
