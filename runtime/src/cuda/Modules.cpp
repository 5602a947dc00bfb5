#include "runtime/src/cuda/Modules.h"

namespace saddle::cuda {

static Status explain(const Status &status, const Device &device,
                      const std::string &what) {
  if (status.ok())
    return {};
  return status.within(device.describe() + ": " + what);
}

/// One function, ready to be launched as `function` says.
static Status resolve(const Device &device, CUmodule module,
                      const schema::Function &function, CUfunction &result) {
  const Driver &driver = device.driver;
  SADDLE_CUDA(driver, cuModuleGetFunction, &result, module,
              function.name()->c_str());
  SADDLE_CUDA(driver, cuFuncLoad, result);
  // Functions in clusters say so in their code. Up to 8 CTAs every device takes
  // unasked.
  SADDLE_CUDA(driver, cuFuncSetAttribute, result,
              CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED, 1);
  // Unasked, a function may use 48 KiB together with what its code has besides.
  if (function.shared_bytes() != 0)
    SADDLE_CUDA(driver, cuFuncSetAttribute, result,
                CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
                int(function.shared_bytes()));
  return {};
}

StatusOr<Modules> Modules::load(const Device &device,
                                const schema::Engine &engine,
                                const std::vector<Bytes> &images) {
  const Driver &driver = device.driver;
  ContextScope scope(device);
  Modules result;
  for (uint32_t i = 0; i < images.size(); ++i) {
    CUmodule module = nullptr;
    SADDLE_RETURN_IF_ERROR(explain(
        driver.check(driver.cuModuleLoadData(&module, images[i].data()),
                     "cuModuleLoadData"),
        device, "module \"" + engine.modules()->Get(i)->name()->str() + "\""));
    result.modules.emplace_back(device, module);
  }
  for (const schema::Kernel *kernel : *engine.kernels()) {
    std::vector<CUfunction> &list = result.functions.emplace_back();
    if (!kernel->functions())
      continue;
    for (const schema::Function *function : *kernel->functions()) {
      CUfunction found = nullptr;
      SADDLE_RETURN_IF_ERROR(
          explain(resolve(device, result.modules[function->module_()].get(),
                          *function, found),
                  device, "function \"" + function->name()->str() + "\""));
      list.push_back(found);
    }
  }
  return result;
}

} // namespace saddle::cuda
