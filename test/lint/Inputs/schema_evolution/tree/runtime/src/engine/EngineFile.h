constexpr uint16_t kEngineMajor = 3;
constexpr uint16_t kEngineMinor = 1;
