// A borrowed contiguous range: pointer and element count.

#ifndef SADDLE_RUNTIME_BASE_SPAN_H
#define SADDLE_RUNTIME_BASE_SPAN_H

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <utility>

namespace saddle {

/// Does not own its elements; valid as long as what it was made from.
template <typename T>
class Span {
public:
  Span() = default;
  Span(T *data, size_t size) : first(data), count(size) {}
  /// From any container with data() and size(); a temporary one lives to the
  /// end of the full expression, as for std::string_view.
  template <typename Container,
            typename = decltype(std::declval<Container>().data())>
  Span(Container &&container)
      : first(container.data()), count(container.size()) {}

  T *data() const { return first; }
  size_t size() const { return count; }
  bool empty() const { return count == 0; }
  T *begin() const { return first; }
  T *end() const { return first + count; }
  T &operator[](size_t index) const {
    assert(index < count && "index outside the span");
    return first[index];
  }

private:
  T *first = nullptr;
  size_t count = 0;
};

using Bytes = Span<const uint8_t>;

} // namespace saddle

#endif // SADDLE_RUNTIME_BASE_SPAN_H
