#include "runtime/src/text/UnicodeData.h"

#include <algorithm>
#include <iterator>

namespace saddle::text {

namespace {

constexpr Category Lu = Category::Lu, Ll = Category::Ll, Lt = Category::Lt,
                   Lm = Category::Lm, Lo = Category::Lo, Mn = Category::Mn,
                   Mc = Category::Mc, Me = Category::Me, Nd = Category::Nd,
                   Nl = Category::Nl, No = Category::No, Pc = Category::Pc,
                   Pd = Category::Pd, Ps = Category::Ps, Pe = Category::Pe,
                   Pi = Category::Pi, Pf = Category::Pf, Po = Category::Po,
                   Sm = Category::Sm, Sc = Category::Sc, Sk = Category::Sk,
                   So = Category::So, Zs = Category::Zs, Zl = Category::Zl,
                   Zp = Category::Zp, Cc = Category::Cc, Cf = Category::Cf,
                   Cs = Category::Cs, Co = Category::Co, Cn = Category::Cn;

#include "runtime/src/text/UnicodeData.inc"

} // namespace

Category categoryOf(uint32_t codePoint) {
  const uint32_t *behind =
      std::upper_bound(std::begin(runStarts), std::end(runStarts), codePoint);
  return runCategories[behind - std::begin(runStarts) - 1];
}

/// Whether it lies in one of the ranges that begin and end at `edges`.
template <size_t count>
static bool isInside(const uint32_t (&edges)[count], uint32_t codePoint) {
  const uint32_t *behind =
      std::upper_bound(std::begin(edges), std::end(edges), codePoint);
  return (behind - std::begin(edges)) % 2 == 1;
}

bool isHan(uint32_t codePoint) { return isInside(hanEdges, codePoint); }

bool isNormalised(uint32_t codePoint) { return isInside(nfcEdges, codePoint); }

bool isWhiteSpace(uint32_t codePoint) {
  if (codePoint < 0x80)
    return codePoint == ' ' || (codePoint >= '\t' && codePoint <= '\r');
  if (codePoint == 0x85)
    return true;
  Category category = categoryOf(codePoint);
  return category == Zs || category == Zl || category == Zp;
}

} // namespace saddle::text
