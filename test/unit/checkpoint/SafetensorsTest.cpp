// Headers: what is read from honest files, and every way of lying.

#include "runtime/src/checkpoint/Checkpoint.h"
#include "test/unit/base/TemporaryFolder.h"
#include "test/unit/checkpoint/SafetensorsWriter.h"

#include <gtest/gtest.h>

using namespace saddle;

namespace {

class Safetensors : public testing::Test {
protected:
  Status read(const std::string &content) {
    tensors.clear();
    path = folder.write("model.safetensors", content);
    return readSafetensorsHeader(path, 3, tensors);
  }

  /// Expects that a file with `header` and `data` is refused with `message`
  /// after the path.
  void refuses(const std::string &header, const std::string &data,
               const std::string &message) {
    refusesFile(rawSafetensors(header, data), message);
  }
  void refusesFile(const std::string &content, const std::string &message) {
    Status status = read(content);
    EXPECT_EQ(status.code(), StatusCode::DataLoss) << message;
    EXPECT_EQ(status.message(), path + message);
  }
  /// Same with the single tensor x, whose description is given.
  void refusesTensor(const std::string &description, const std::string &data,
                     const std::string &message) {
    refuses("{\"x\":" + description + "}", data, ": tensor \"x\": " + message);
  }

  TemporaryFolder folder;
  std::string path;
  std::map<std::string, TensorInfo> tensors;
};

TEST_F(Safetensors, readsTensorsInAnyOrderWithMetadataAndPadding) {
  std::string header =
      R"({"b":{"dtype":"BF16","shape":[2,3],"data_offsets":[4,16]},)"
      R"("__metadata__":{"format":"pt"},)"
      R"("a":{"data_offsets":[0,4],"shape":[],"dtype":"F32"},)"
      R"("none":{"dtype":"F8_E4M3","shape":[0,7],"data_offsets":[16,16]}}   )";
  Status status = read(rawSafetensors(header, std::string(16, 'x')));
  ASSERT_TRUE(status.ok()) << status.message();
  ASSERT_EQ(tensors.size(), 3u);
  const TensorInfo &b = tensors["b"];
  EXPECT_EQ(b.dtype, TensorDType::BF16);
  EXPECT_EQ(b.dtypeName, "BF16");
  EXPECT_EQ(b.shape, (std::vector<uint64_t>{2, 3}));
  EXPECT_EQ(b.file, 3u);
  EXPECT_EQ(b.offset, 8 + header.size() + 4);
  EXPECT_EQ(b.bytes, 12u);
  EXPECT_EQ(tensors["a"].bytes, 4u);
  EXPECT_EQ(tensors["none"].dtype, TensorDType::F8E4M3);
  EXPECT_EQ(tensors["none"].bytes, 0u);
}

TEST_F(Safetensors, readsAnEmptyFileOfTensors) {
  EXPECT_TRUE(read(rawSafetensors("{}", "")).ok());
  EXPECT_TRUE(tensors.empty());
}

TEST_F(Safetensors, knowsEveryDTypeOfTheFormat) {
  std::vector<std::pair<std::string, size_t>> sizes = {
      {"F32", 4},     {"BF16", 2},    {"F16", 2}, {"F8_E4M3", 1},
      {"I32", 4},     {"I64", 8},     {"U8", 1},  {"F64", 8},
      {"F8_E5M2", 1}, {"F8_E8M0", 1}, {"I8", 1},  {"I16", 2},
      {"U16", 2},     {"U32", 4},     {"U64", 8}, {"BOOL", 1}};
  for (auto &[name, bytes] : sizes)
    EXPECT_TRUE(
        read(safetensors({{"x", name, {3}, std::string(3 * bytes, 0)}})).ok())
        << name;
  EXPECT_EQ(elementBytes(TensorDType::BF16), 2u);
  EXPECT_EQ(elementBytes(TensorDType::F8E4M3), 1u);
  EXPECT_EQ(elementBytes(TensorDType::Other), 0u);
  EXPECT_STREQ(dtypeName(TensorDType::F8E4M3), "f8e4m3");
}

TEST_F(Safetensors, refusesTruncationAtEveryByte) {
  std::string file = safetensors({{"x", "F32", {2}, "01234567"}});
  ASSERT_TRUE(read(file).ok());
  for (size_t size = 0; size < file.size(); ++size)
    EXPECT_EQ(read(file.substr(0, size)).code(), StatusCode::DataLoss) << size;
  refusesFile("1234567",
              ": 7 bytes are too few for a safetensors file, which begins "
              "with 8 bytes of header length");
  refusesFile(rawSafetensors("{}", "").substr(0, 9),
              ": truncated: the header needs 10 bytes, but the file has 9");
  refusesFile(rawSafetensors("{}", "").substr(0, 8),
              ": truncated: the header needs 10 bytes, but the file has 8");
}

TEST_F(Safetensors, refusesHugeHeaders) {
  refusesFile(std::string(16, '\xff'),
              ": a header of 18446744073709551615 bytes is announced, the "
              "limit is 536870912; is this a safetensors file?");
}

TEST_F(Safetensors, saysWhatLiesInThePlaceOfTheFile) {
  refusesFile("version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
              ": expected a safetensors file, but this is a pointer of Git "
              "LFS; fetch the file itself with \"git lfs pull\"");
  for (const char *page : {"<!DOCTYPE html><title>404</title>",
                           "\n <HTML>\n<body>", "<?xml version=\"1.0\"?>"})
    refusesFile(page, ": expected a safetensors file, but this is a web page; "
                      "download the file again, perhaps after logging in");
}

TEST_F(Safetensors, refusesOtherJson) {
  refuses("[]", "", ": the header is an array, expected a JSON object");
  refuses("7", "", ": the header is a number, expected a JSON object");
  refuses("null", "", ": the header is null, expected a JSON object");
  const std::string place = ": header: line 1, column ";
  refuses("{\"x\"", "",
          place + "5 (byte 4): not valid JSON, unexpected end of file");
  refuses("{} {}", "", place + "4 (byte 3): not valid JSON, unexpected '{'");
  refuses("{\"\xff\":1}", "",
          place + "3 (byte 2): not valid JSON, unexpected byte 0xff");
  refuses(std::string("{}\0", 3), "",
          place + "3 (byte 2): not valid JSON, unexpected byte 0x00");
  refuses(std::string(100000, '['), "",
          ": the header is an array, expected a JSON object");
}

TEST_F(Safetensors, refusesMalformedDescriptions) {
  refusesTensor("1", "", "found a number, expected an object");
  refusesTensor("[]", "", "found an array, expected an object");
  refusesTensor(R"({"dtype":[]})", "",
                "found an array, expected a string as dtype");
  refusesTensor(R"({"dtype":1})", "",
                "found a number, expected a string as dtype");
  refusesTensor(R"({"shape":{}})", "",
                "found an object, expected an array of numbers as shape");
  refusesTensor(R"({"shape":"4"})", "",
                "found a string, expected an array of numbers as shape");
  refusesTensor(R"({"shape":[[4]]})", "",
                "found an array, expected an array of numbers as shape");
  refusesTensor(R"({"data_offsets":true})", "",
                "found true, expected an array of two numbers as "
                "data_offsets");
  refusesTensor(R"({"data_offsets":[1]})", "",
                "data_offsets has 1 entries, expected 2");
  refusesTensor(R"({"data_offsets":[0,4,8]})", "",
                "data_offsets has more than 2 entries");
  refusesTensor(R"({"shape":[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]})", "",
                "shape has more than 16 entries");
  refusesTensor(R"({"size":1})", "",
                "unknown field \"size\", expected dtype, shape and "
                "data_offsets");
  refusesTensor("{}", "", "has no dtype");
  refusesTensor(R"({"dtype":"F32"})", "", "has no shape");
  refusesTensor(R"({"dtype":"F32","shape":[]})", "", "has no data_offsets");
  refusesTensor(R"({"dtype":"F31","shape":[],"data_offsets":[0,4]})", "0123",
                "unknown dtype \"F31\"");
  refuses(R"({"__metadata__":{"a":1}})", "",
          ": tensor \"__metadata__\": found a number, expected strings only");
}

TEST_F(Safetensors, refusesCountsThatAreNoCounts) {
  refusesTensor(R"({"shape":[-1]})", "",
                "shape holds -1, expected whole numbers from 0 to 2^64-1");
  refusesTensor(R"({"shape":[1.5]})", "",
                "shape holds 1.5, expected whole numbers from 0 to 2^64-1");
  refusesTensor(R"({"shape":[18446744073709551616]})", "",
                "shape holds 18446744073709551616, expected whole numbers "
                "from 0 to 2^64-1");
  refusesTensor(R"({"data_offsets":[0,"4"]})", "",
                "data_offsets holds 4, expected whole numbers from 0 to "
                "2^64-1");
}

TEST_F(Safetensors, refusesCountsThatOverflow) {
  // 2^32 * 2^32 elements wrap to 0, 2^62 of F32 wrap to 0 bytes.
  refusesTensor(
      R"({"dtype":"U8","shape":[4294967296,4294967296],"data_offsets":[0,0]})",
      "", "shape [4294967296, 4294967296] of U8 needs more than 2^64 bytes");
  refusesTensor(
      R"({"dtype":"F32","shape":[4611686018427387904],"data_offsets":[0,0]})",
      "", "shape [4611686018427387904] of F32 needs more than 2^64 bytes");
}

TEST_F(Safetensors, refusesByteCountsThatDisagree) {
  refusesTensor(R"({"dtype":"F32","shape":[4,4],"data_offsets":[0,80]})",
                std::string(80, 0),
                "data_offsets [0, 80] hold 80 bytes, but shape [4, 4] of F32 "
                "needs 64");
}

TEST_F(Safetensors, refusesOffsetsOutsideTheFile) {
  refusesTensor(R"({"dtype":"F32","shape":[1],"data_offsets":[4,8]})", "01234",
                "data_offsets [4, 8] point beyond the 5 bytes of data in the "
                "file");
  refusesTensor(R"({"dtype":"F32","shape":[1],"data_offsets":[4,0]})", "0123",
                "data_offsets [4, 0] run backwards");
}

TEST_F(Safetensors, refusesOverlapsGapsAndLeftovers) {
  auto pair = [](const char *first, const char *second) {
    return std::string(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":)") +
           first + R"(},"b":{"dtype":"F32","shape":[1],"data_offsets":)" +
           second + "}}";
  };
  refuses(pair("[0,4]", "[2,6]"), "012345",
          ": tensor \"b\": data begins at 2, inside tensor \"a\", whose data "
          "ends at 4");
  refuses(pair("[0,4]", "[0,4]"), "0123",
          ": tensor \"b\": data begins at 0, inside tensor \"a\", whose data "
          "ends at 4");
  refuses(pair("[0,4]", "[6,10]"), "0123456789",
          ": bytes 4 to 6 of the data belong to no tensor (before \"b\")");
  refuses(pair("[0,4]", "[4,8]"), "0123456789",
          ": the tensors end at byte 8 of the data, but the file holds 10 "
          "bytes");
  refuses("{}", "0",
          ": the tensors end at byte 0 of the data, but the file holds 1 "
          "bytes");
}

TEST_F(Safetensors, refusesDuplicates) {
  std::string x = R"("x":{"dtype":"U8","shape":[0],"data_offsets":[0,0]})";
  refuses("{" + x + "," + x + "}", "",
          ": tensor \"x\": appears twice in the header");
  refusesTensor(R"({"dtype":"U8","dtype":"I8"})", "",
                "field \"dtype\" appears twice");
  refuses(R"({"__metadata__":{},"__metadata__":{}})", "",
          ": tensor \"__metadata__\": appears twice in the header");
}

TEST_F(Safetensors, absentFileIsNotFound) {
  EXPECT_EQ(readSafetensorsHeader(folder.path("no"), 0, tensors).code(),
            StatusCode::NotFound);
}

} // namespace
