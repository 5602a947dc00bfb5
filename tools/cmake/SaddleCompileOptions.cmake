# Flags that every target of ours shares.

find_program(SADDLE_CCACHE ccache)
if(SADDLE_CCACHE)
  set(CMAKE_C_COMPILER_LAUNCHER ${SADDLE_CCACHE})
  set(CMAKE_CXX_COMPILER_LAUNCHER ${SADDLE_CCACHE})
endif()

include_directories(${CMAKE_SOURCE_DIR} ${CMAKE_BINARY_DIR})

add_compile_options(-Wall -Wextra -Wno-unused-parameter)
if(SADDLE_WERROR)
  add_compile_options(-Werror)
endif()

if(SADDLE_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()
if(SADDLE_SANITIZE)
  add_compile_options(-fsanitize=${SADDLE_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${SADDLE_SANITIZE})
endif()

# On the LLVM side. CLI11 throws, so each tool's main.cpp keeps exceptions, and the runtime is unwound by those of the standard library.
set(SADDLE_NO_EXCEPTIONS -fno-exceptions)

add_compile_definitions(SADDLE_VERSION="${PROJECT_VERSION}")
