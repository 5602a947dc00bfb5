# Finds Debian's MLIR 22 and sets up TableGen. The order matters: definitions must precede HandleLLVMOptions, which reads them.

find_program(LLVM_CONFIG NAMES llvm-config-22)
if(LLVM_CONFIG)
  execute_process(COMMAND ${LLVM_CONFIG} --prefix OUTPUT_VARIABLE llvm_prefix OUTPUT_STRIP_TRAILING_WHITESPACE)
  list(APPEND CMAKE_PREFIX_PATH ${llvm_prefix})
endif()
# Debian has no bin/llvm-lit, which MLIRConfig expects.
find_program(LLVM_EXTERNAL_LIT NAMES lit-22 lit PATHS ${llvm_prefix}/bin)
# The version file wants an equal major.minor: "22" alone is refused.
find_package(MLIR 22.1 REQUIRED CONFIG)
message(STATUS "MLIR ${LLVM_PACKAGE_VERSION}: ${MLIR_DIR}")

# Everything through libMLIR.so: MLIRConfig does not set this, and mixing it with the static archives registers options twice.
set(MLIR_LINK_MLIR_DYLIB ON)
set(MLIR_BINARY_DIR ${CMAKE_BINARY_DIR})
set(LLVM_RUNTIME_OUTPUT_INTDIR ${CMAKE_BINARY_DIR}/bin)
set(LLVM_LIBRARY_OUTPUT_INTDIR ${CMAKE_BINARY_DIR}/lib)
list(APPEND CMAKE_MODULE_PATH ${MLIR_CMAKE_DIR} ${LLVM_CMAKE_DIR})
separate_arguments(llvm_definitions NATIVE_COMMAND ${LLVM_DEFINITIONS})
add_definitions(${llvm_definitions})
include(TableGen)
include(AddLLVM)
include(AddMLIR)
include_directories(SYSTEM ${LLVM_INCLUDE_DIRS} ${MLIR_INCLUDE_DIRS})

saddle_precompiled(Mlir LIBRARY OPTIONS ${SADDLE_NO_EXCEPTIONS} -fno-rtti)

# saddle_mlir_library(NAME SOURCES... [DEPENDS targets] [LINK ours...] [MLIR upstream...])
# A static library of ours on the LLVM side.
function(saddle_mlir_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPENDS;LINK;MLIR" ${ARGN})
  add_library(${name} STATIC ${ARG_SOURCES})
  target_compile_options(${name} PRIVATE ${SADDLE_NO_EXCEPTIONS} -fno-rtti)
  target_link_libraries(${name} PUBLIC ${ARG_LINK} LLVM)
  if(ARG_MLIR)
    mlir_target_link_libraries(${name} PUBLIC ${ARG_MLIR})
  endif()
  if(ARG_DEPENDS)
    add_dependencies(${name} ${ARG_DEPENDS})
  endif()
  saddle_use_precompiled(${name} Mlir)
endfunction()

# saddle_tablegen(INPUT OUTPUT ARGS...): runs mlir-tblgen and appends OUTPUT to TABLEGEN_OUTPUT of the caller.
macro(saddle_tablegen input output)
  get_filename_component(tablegen_dir ${output} DIRECTORY)
  file(MAKE_DIRECTORY ${tablegen_dir})
  file(GLOB_RECURSE tablegen_sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/dialects/*.td)
  add_custom_command(
    OUTPUT ${output}
    COMMAND ${LLVM_TOOLS_BINARY_DIR}/mlir-tblgen ${ARGN} -I ${CMAKE_SOURCE_DIR} -I ${LLVM_INCLUDE_DIR} ${input} -o ${output}
    DEPENDS ${input} ${tablegen_sources})
  list(APPEND TABLEGEN_OUTPUT ${output})
endmacro()
