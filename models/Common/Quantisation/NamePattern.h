// Expressions and globs of module names, on PCRE2.

#ifndef SADDLE_MODELS_COMMON_QUANTISATION_NAMEPATTERN_H
#define SADDLE_MODELS_COMMON_QUANTISATION_NAMEPATTERN_H

#include <memory>
#include <string>
#include <string_view>

namespace saddle {

/// A compiled pattern that a name begins with. Matching follows all ways at
/// once (pcre2_dfa_match), so that its time does not grow with their number.
class NamePattern {
public:
  enum End {
    Anywhere,
    /// Of a component of the name: so a pattern also names what lies below.
    AfterComponent
  };
  /// An expression of Python's `re`. Groups cannot be referred back to.
  NamePattern(std::string_view expression, End end);
  /// A glob of Python's `fnmatch` (*, ?, [abc], [!abc]) for a whole name or
  /// that of a module above it, and without a dot for any component.
  static std::shared_ptr<const NamePattern> ofGlob(std::string_view glob);
  ~NamePattern();
  NamePattern(const NamePattern &) = delete;
  NamePattern &operator=(const NamePattern &) = delete;

  /// Why it is none; empty for one that can match.
  const std::string &error() const { return why; }
  bool matches(std::string_view name) const;

private:
  void *code = nullptr; // PCRE2's
  std::string why;
};

} // namespace saddle

#endif // SADDLE_MODELS_COMMON_QUANTISATION_NAMEPATTERN_H
