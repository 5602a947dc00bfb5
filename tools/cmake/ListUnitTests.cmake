# Which ctest entries a GoogleTest binary has: run as a script after the binary is linked (saddle_unit_test of test/CMakeLists.txt), writes OUTPUT, which
# ctest includes. A suite is one entry, `unit.NAME.SUITE`, since to start a process takes longer than most cases. What ALONE, TIMED and SLOW name has
# an entry for each case, `unit.NAME.SUITE.CASE`.
#
#   cmake -D BINARY=... -D NAME=... -D OUTPUT=... [-D ALONE=FILTER] [-D TIMED=FILTER] [-D SLOW=FILTER] [-D PROPERTIES=...] [-D LABELS=...] -P ListUnitTests.cmake

# The cases that FILTER names, as SUITE.CASE.
function(list_cases filter found)
  execute_process(COMMAND ${BINARY} --gtest_list_tests --gtest_filter=${filter} OUTPUT_VARIABLE output COMMAND_ERROR_IS_FATAL ANY TIMEOUT 60)
  string(REGEX REPLACE " *#[^\n]*" "" output "${output}") # values of parameters
  string(REPLACE "\n" ";" lines "${output}")
  set(suite)
  set(cases)
  foreach(line ${lines})
    if(line MATCHES "^  (.+)$")
      list(APPEND cases ${suite}${CMAKE_MATCH_1})
    elseif(line MATCHES "^[^ ]+\\.$")
      set(suite ${line})
    endif()
  endforeach()
  set(${found} ${cases} PARENT_SCOPE)
endfunction()

set(entries)
function(add_entry name filter)
  list(JOIN ARGN " " properties)
  string(APPEND entries "add_test([=[unit.${NAME}.${name}]=] [=[${BINARY}]=] [=[--gtest_filter=${filter}]=])\n"
                        "set_tests_properties([=[unit.${NAME}.${name}]=] PROPERTIES ${PROPERTIES} ${properties})\n")
  set(entries "${entries}" PARENT_SCOPE)
endfunction()

set(labels)
if(LABELS)
  set(labels LABELS ${LABELS})
endif()
set(apart)
foreach(kind ALONE TIMED SLOW)
  if(${kind})
    string(APPEND apart ":${${kind}}")
    list_cases(${${kind}} cases)
    if(NOT cases)
      message(FATAL_ERROR "${NAME}: ${kind} names no test: ${${kind}}")
    endif()
    set(properties_ALONE ${labels})
    set(properties_TIMED ${labels} RESOURCE_LOCK clock)
    set(properties_SLOW LABELS slow)
    foreach(case ${cases})
      add_entry(${case} ${case} ${properties_${kind}})
    endforeach()
  endif()
endforeach()
string(REGEX REPLACE "^:" "-" apart "${apart}")

list_cases("*${apart}" cases)
list(TRANSFORM cases REPLACE "\\.[^.]+$" "")
list(REMOVE_DUPLICATES cases)
foreach(suite ${cases})
  add_entry(${suite} "${suite}.*${apart}" ${labels})
endforeach()
file(WRITE ${OUTPUT} "${entries}")
