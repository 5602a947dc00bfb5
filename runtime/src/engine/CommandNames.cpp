#include "runtime/src/engine/CommandNames.h"

namespace saddle::engine {

using schema::CollectiveKind;
using schema::TransferKind;

const char *opOf(CollectiveKind kind) {
  switch (kind) {
  case CollectiveKind::ALL_REDUCE_SUM:
    return "all_reduce_sum";
  case CollectiveKind::ALL_GATHER:
    return "all_gather";
  case CollectiveKind::REDUCE_SCATTER_SUM:
    return "reduce_scatter_sum";
  case CollectiveKind::UNKNOWN:
    break;
  }
  return "unknown";
}

const char *opOf(TransferKind kind) {
  switch (kind) {
  case TransferKind::SEND:
    return "send";
  case TransferKind::RECEIVE:
    return "receive";
  case TransferKind::UNKNOWN:
    break;
  }
  return "unknown";
}

} // namespace saddle::engine
