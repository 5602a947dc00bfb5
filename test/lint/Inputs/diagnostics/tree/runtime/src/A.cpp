Status f(int n) {
  if (n == 1)
    return makeError(StatusCode::DataLoss, "%s: the wheel has %d spokes, "
                                           "expected an even number",
                     name, n);
  // makeError(StatusCode::DataLoss, "not in a comment of many words");
  if (n == 2)
    return makeError(StatusCode::Internal, "nobody quotes this one at all");
  if (n == 3)
    return makeError(StatusCode::Internal, "this one has a reason instead");
  if (n == 4)
    return retellError(status, "%s: %s", name, status.message().c_str());
  if (n == 5)
    return Status(StatusCode::Internal, "which has no identifier");
  if (n == 6)
    return makeError(StatusCode::Internal, n ? "one of" : "two formats");
  return makeError(StatusCode::InvalidArgument, "spoke %d is %" PRIu64, n, n);
}
