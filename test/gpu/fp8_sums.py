#!/usr/bin/env python3
"""How exact sums of e4m3 products are in Hopper's tensor cores.

cuBLAS multiplies random e4m3 matrices into fp32, and the result is compared with
exact sums: for a few columns at once, and for 24 groups of 128 that are added in
fp32, as kernels with block scales do. Errors are shares of the sums' root mean
square. Needs PyTorch and a GPU of compute capability 9.0.
"""

import sys

import torch

ROWS, COLUMNS, GROUP = 1024, 3072, 128


def operand(columns):
    return torch.randn(ROWS, columns, device="cuda").to(torch.float8_e4m3fn)


def multiply(a, b):
    one = torch.ones((), device="cuda")
    return torch._scaled_mm(a.contiguous(), b.contiguous().t(), scale_a=one,
                            scale_b=one, out_dtype=torch.float32,
                            use_fast_accum=True)


def report(name, found, a, b):
    exact = a.double() @ b.double().t()
    error = (found.double() - exact) / exact.pow(2).mean().sqrt()
    print(f"{name}: root mean square {error.pow(2).mean().sqrt():.3e}, "
          f"largest {error.abs().max():.3e}, "
          f"toward zero {-(error * exact.sign()).mean():.3e}")


def main():
    torch.manual_seed(1)
    for columns in (32, 64, GROUP):
        a, b = operand(columns), operand(columns)
        report(f"{columns} columns", multiply(a, b), a, b)
    a, b = operand(COLUMNS), operand(COLUMNS)
    groups = sum(multiply(a[:, i:i + GROUP], b[:, i:i + GROUP])
                 for i in range(0, COLUMNS, GROUP))
    report(f"{COLUMNS // GROUP} groups of {GROUP}", groups, a, b)
    return 0


if __name__ == "__main__":
    sys.exit(main())
