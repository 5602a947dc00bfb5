# How suites of test/ become ctest entries.

find_package(Python3 REQUIRED COMPONENTS Interpreter)
# The interpreter itself: the script that a version manager puts before it takes longer than most tests.
execute_process(COMMAND ${Python3_EXECUTABLE} -c "import sys; print(sys.executable)" OUTPUT_VARIABLE SADDLE_PYTHON_EXECUTABLE
                OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
# Scripts of tests use the standard library only, so no site packages are looked for.
set(SADDLE_PYTHON ${SADDLE_PYTHON_EXECUTABLE} -S)

if(SADDLE_BUILD_COMPILER)
  configure_file(${CMAKE_SOURCE_DIR}/test/lit.site.cfg.py.in ${CMAKE_BINARY_DIR}/test/lit.site.cfg.py @ONLY)
endif()

# saddle_lit_suite(NAME): every .mlir and .test file below test/NAME as one ctest entry `lit-NAME`. Nothing without the compiler, since the tests run
# saddle-opt and LLVM's FileCheck.
function(saddle_lit_suite name)
  file(GLOB_RECURSE tests CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/test/${name}/*.mlir ${CMAKE_SOURCE_DIR}/test/${name}/*.test)
  list(FILTER tests EXCLUDE REGEX "/Inputs/")
  if(NOT SADDLE_BUILD_COMPILER OR NOT tests)
    return()
  endif()
  if(NOT LLVM_EXTERNAL_LIT)
    message(FATAL_ERROR "lit-22 is not installed; tools/setup.sh installs it")
  endif()
  file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/test/${name})
  add_test(NAME lit-${name} COMMAND ${LLVM_EXTERNAL_LIT} -sv ${CMAKE_BINARY_DIR}/test/${name})
endfunction()
