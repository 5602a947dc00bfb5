// The registers of an instruction's accumulators as asm text and operands:
// "%0, ..." and their constraints.

#pragma once

#define SADDLE_PLACES_4 "%0, %1, %2, %3"
#define SADDLE_PLACES_8 SADDLE_PLACES_4 ", %4, %5, %6, %7"
#define SADDLE_PLACES_12 SADDLE_PLACES_8 ", %8, %9, %10, %11"
#define SADDLE_PLACES_16 SADDLE_PLACES_12 ", %12, %13, %14, %15"
#define SADDLE_PLACES_24                                                       \
  SADDLE_PLACES_16 ", %16, %17, %18, %19, %20, %21, %22, %23"
#define SADDLE_PLACES_32                                                       \
  SADDLE_PLACES_24 ", %24, %25, %26, %27, %28, %29, %30, %31"
#define SADDLE_PLACES_64                                                       \
  SADDLE_PLACES_32                                                             \
  ", %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, "   \
  "%46, %47, %48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, "     \
  "%60, %61, %62, %63"

/// Four registers of d, an array of them, from d[i] on.
#define SADDLE_REGISTERS_4(d, i)                                               \
  "+f"((d)[i]), "+f"((d)[(i) + 1]), "+f"((d)[(i) + 2]), "+f"((d)[(i) + 3])
#define SADDLE_REGISTERS_16(d, i)                                              \
  SADDLE_REGISTERS_4(d, i), SADDLE_REGISTERS_4(d, (i) + 4),                    \
      SADDLE_REGISTERS_4(d, (i) + 8), SADDLE_REGISTERS_4(d, (i) + 12)
#define SADDLE_REGISTERS_64(d)                                                 \
  SADDLE_REGISTERS_16(d, 0), SADDLE_REGISTERS_16(d, 16),                       \
      SADDLE_REGISTERS_16(d, 32), SADDLE_REGISTERS_16(d, 48)

/// The registers of 1, 2, 4 or 8 arrays d[n] of four.
#define SADDLE_ROWS_1(d, n) SADDLE_REGISTERS_4((d)[n], 0)
#define SADDLE_ROWS_2(d, n) SADDLE_ROWS_1(d, n), SADDLE_ROWS_1(d, (n) + 1)
#define SADDLE_ROWS_4(d, n) SADDLE_ROWS_2(d, n), SADDLE_ROWS_2(d, (n) + 2)
#define SADDLE_ROWS_8(d, n) SADDLE_ROWS_4(d, n), SADDLE_ROWS_4(d, (n) + 4)
