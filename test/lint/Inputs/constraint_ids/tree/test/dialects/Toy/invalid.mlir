func.func @same_c1() {
module @sum_c1 {
func.func @sum_c1_other_case() {
// A comment about @sum_c2 is no test.
func.func @sum_c3() {
func.func @sum_c5_variant_only() {
func.func @lost_c2() {
