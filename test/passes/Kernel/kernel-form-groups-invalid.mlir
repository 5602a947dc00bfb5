// RUN: saddle-opt %s --kernel-form-groups=target=tpu --verify-diagnostics

// expected-error @+1 {{target "tpu" is not known; targets of this version: cpu, sm_90a}}
module {
}
