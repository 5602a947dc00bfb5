struct Cpu : Target {
  StringRef name() const override { return "cpu"; }
};
struct Tpu : Target {
  StringRef name() const override { return "tpu"; }
};
