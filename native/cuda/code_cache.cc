#include "cuda/code_cache.h"

#if defined(__linux__)
#include <sys/stat.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#endif

namespace deep_hessian {
namespace cuda {

#if !defined(__linux__)

std::string readCachedCode(const std::string&) { return ""; }
void writeCachedCode(const std::string&, const std::string&) {}

#else

namespace {

// FNV-1a, 64 bits: names the file and tells a whole one from a torn one.
std::uint64_t hash(const std::string& text) {
  std::uint64_t value = 14695981039346656037u;
  for (const char c : text) value = (value ^ static_cast<unsigned char>(c)) * 1099511628211u;
  return value;
}

std::string folder() {
  const auto variable = [](const char* name) {
    const char* value = std::getenv(name);
    return std::string(value ? value : "");
  };
  const std::string own = variable("DEEP_HESSIAN_CUDA_CACHE");
  if (own == "none") return "";
  if (!own.empty()) return own;
  const std::string cache = variable("XDG_CACHE_HOME"), home = variable("HOME");
  if (!cache.empty()) return cache + "/deep-hessian";
  return home.empty() ? "" : home + "/.cache/deep-hessian";
}

std::string fileOf(const std::string& key) {
  const std::string place = folder();
  if (place.empty()) return "";
  char name[64];
  std::snprintf(name, sizeof name, "/kernels-%016llx.bin", static_cast<unsigned long long>(hash(key)));
  return place + name;
}

struct Header {
  char magic[8];
  std::uint64_t key, size, content;
};
constexpr char kMagic[8] = {'d', 'h', 'c', 'u', 'd', 'a', '0', '1'};

}  // namespace

std::string readCachedCode(const std::string& key) {
  const std::string file = fileOf(key);
  std::FILE* in = file.empty() ? nullptr : std::fopen(file.c_str(), "rb");
  if (in == nullptr) return "";
  Header header;
  std::string code;
  if (std::fread(&header, sizeof header, 1, in) == 1 && std::memcmp(header.magic, kMagic, sizeof kMagic) == 0 &&
      header.key == hash(key) && header.size > 0 && header.size < (std::uint64_t{1} << 28)) {
    code.resize(header.size);
    if (std::fread(&code[0], 1, code.size(), in) != code.size() || hash(code) != header.content) code.clear();
  }
  std::fclose(in);
  return code;
}

void writeCachedCode(const std::string& key, const std::string& code) {
  const std::string file = fileOf(key);
  if (file.empty()) return;
  // The folders above it are the user's; only the last two may be missing.
  const std::string place = file.substr(0, file.rfind('/'));
  mkdir(place.substr(0, place.rfind('/')).c_str(), 0700);
  mkdir(place.c_str(), 0700);
  const std::string temporary = file + "." + std::to_string(getpid());
  std::FILE* out = std::fopen(temporary.c_str(), "wb");
  if (out == nullptr) return;
  Header header;
  std::memcpy(header.magic, kMagic, sizeof kMagic);
  header.key = hash(key);
  header.size = code.size();
  header.content = hash(code);
  bool good = std::fwrite(&header, sizeof header, 1, out) == 1 && std::fwrite(code.data(), 1, code.size(), out) == code.size();
  good = std::fflush(out) == 0 && good;
  good = fsync(fileno(out)) == 0 && good;
  good = std::fclose(out) == 0 && good;
  if (!good || std::rename(temporary.c_str(), file.c_str()) != 0) unlink(temporary.c_str());
}

#endif

}  // namespace cuda
}  // namespace deep_hessian
