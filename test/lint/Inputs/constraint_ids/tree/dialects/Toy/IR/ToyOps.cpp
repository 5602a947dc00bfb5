// sum_c1
if (a) return error("sum_c3"); // sum_c2, sum_c5
// gone_c1
