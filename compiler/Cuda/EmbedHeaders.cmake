# cmake -DROOT=... -DOUTPUT=... -P EmbedHeaders.cmake: a C++ source with the text of every device header below ROOT/runtime/kernels, so that an installed
# saddle-compile needs no source tree.
file(GLOB_RECURSE headers RELATIVE ${ROOT} ${ROOT}/runtime/kernels/*.h ${ROOT}/runtime/kernels/*.cuh)
list(SORT headers)
set(text "#include \"compiler/Cuda/DeviceHeaders.h\"\n\nstatic const saddle::cuda::DeviceHeader kHeaders[] = {\n")
foreach(header ${headers})
  file(READ ${ROOT}/${header} content)
  string(APPEND text "{\"${header}\", R\"saddle_header(${content})saddle_header\"},\n")
endforeach()
string(APPEND text "};\n\nllvm::ArrayRef<saddle::cuda::DeviceHeader> saddle::cuda::deviceHeaders() { return kHeaders; }\n")
file(WRITE ${OUTPUT} "${text}")
