// same_c1: SameOperandsAndResultType.
    - (same_c1) types are the same.
    - (sum_c1) tested and checked;
    - (sum_c2) checked, not tested;
    - (sum_c3) tested, not checked;
    - (sum_c5) not the next number.
