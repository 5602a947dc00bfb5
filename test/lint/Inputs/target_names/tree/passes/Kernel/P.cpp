bool inlined(StringRef target) { return target == "cpu"; }
// The texts "cpu or tpu" and "cpuid" are no names.
const char *help = "cpu or tpu", *other = "cpuid";
