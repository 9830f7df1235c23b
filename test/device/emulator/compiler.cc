// The emulated NVRTC: the host's C++ compiler behind kernel_prelude.h. The "machine code" is the name of the library that
// comes out; it is kept in the folder EMULATED_CUDA_CACHE by the hash of its source.
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <functional>
#include <regex>
#include <set>
#include <sstream>
#include <string>

#include "runtime.h"

namespace {

struct Program {
  std::string source, log, library;
};

std::string read(const std::string& file) {
  std::ifstream in(file);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

bool run(const std::string& command, const std::string& logFile, std::string& log) {
  const int status = std::system((command + " > " + logFile + " 2>&1").c_str());
  log = read(logFile);
  return status == 0;
}

}  // namespace

EMULATED int nvrtcVersion(int* major, int* minor) {
  *major = 13;
  *minor = 0;
  return 0;
}
EMULATED int nvrtcGetNumSupportedArchs(int* count) {
  *count = 3;
  return 0;
}
// EMULATED_NVRTC_ARCH: the newest that is known, by default that of the card.
EMULATED int nvrtcGetSupportedArchs(int* archs) {
  const char* text = std::getenv("EMULATED_NVRTC_ARCH");
  archs[0] = 75;
  archs[1] = 80;
  archs[2] = text ? std::atoi(text) : 90;
  return 0;
}
EMULATED int nvrtcCreateProgram(void** program, const char* source, const char*, int, const char* const*, const char* const*) {
  MAY_FAIL(nvrtcCreateProgram);
  *program = new Program{source, "", ""};
  return 0;
}
EMULATED int nvrtcDestroyProgram(void** program) {
  delete static_cast<Program*>(*program);
  *program = nullptr;
  return 0;
}
EMULATED int nvrtcCompileProgram(void* handle, int count, const char* const* options) {
  auto* program = static_cast<Program*>(handle);
  if (emulator::injected("nvrtcCompileProgram")) {
    program->log = "deep_hessian.cu(1): error: injected";
    return 6;
  }
  bool architecture = false;
  for (int i = 0; i < count; i++) architecture |= std::strncmp(options[i], "--gpu-architecture=", 19) == 0;
  const char* folder = std::getenv("EMULATED_CUDA_CACHE");
  const char* sources = std::getenv("EMULATED_CUDA_SOURCES");
  if (!architecture || !folder || !sources) return 5;
  const std::string prelude = std::string(sources) + "/kernel_prelude.h";
  const std::size_t hash = std::hash<std::string>()(program->source + read(prelude));
  const std::string base = std::string(folder) + "/kernels-" + std::to_string(hash) + "-" + std::to_string(getpid());
  program->library = std::string(folder) + "/kernels-" + std::to_string(hash) + ".so";
  if (access(program->library.c_str(), R_OK) == 0) return 0;
  { std::ofstream(base + ".cu.cc") << program->source; }
  // The names of the kernels come out of the preprocessor: macros make most of them.
  if (!run("g++ -std=c++17 -E -P -w " + base + ".cu.cc", base + ".expanded", program->log)) return 6;
  const std::string expanded = program->log;
  std::ostringstream text;
  text << "#include <tuple>\n#include <type_traits>\n#include \"" << prelude << "\"\n" << program->source << "\n";
  const std::regex entry("extern \"C\" __global__ void (?:__launch_bounds__\\(\\d+\\)\\s+)?(\\w+)\\(");
  std::set<std::string> names;
  for (std::sregex_iterator it(expanded.begin(), expanded.end(), entry), end; it != end; ++it) names.insert((*it)[1]);
  for (const std::string& name : names) {
    bool barriers = false;
    for (const char* with : {"transpose", "symmetrize", "columnSums", "jacobianGram"}) barriers |= name.compare(0, std::strlen(with), with) == 0;
    text << "extern \"C\" EmulatedLaunch* bind_" << name << "(void** at) { return emulatedBind(&" << name << ", at, " << barriers << "); }\n";
  }
  { std::ofstream(base + ".cc") << text.str(); }
  const bool good = run("g++ -std=c++17 -O1 -w -shared -fPIC -ffp-contract=off -o " + base + ".so " + base + ".cc", base + ".log", program->log);
  if (good) std::rename((base + ".so").c_str(), program->library.c_str());
  for (const char* suffix : {".cu.cc", ".expanded", ".cc", ".log"}) unlink((base + suffix).c_str());
  return good ? 0 : 6;
}
EMULATED int nvrtcGetProgramLogSize(void* program, std::size_t* size) {
  *size = static_cast<Program*>(program)->log.size() + 1;
  return 0;
}
EMULATED int nvrtcGetProgramLog(void* program, char* log) {
  std::strcpy(log, static_cast<Program*>(program)->log.c_str());
  return 0;
}
EMULATED int nvrtcGetCUBINSize(void* program, std::size_t* size) {
  *size = static_cast<Program*>(program)->library.size() + 1;
  return 0;
}
EMULATED int nvrtcGetCUBIN(void* program, char* code) {
  std::strcpy(code, static_cast<Program*>(program)->library.c_str());
  return 0;
}
EMULATED int nvrtcGetPTXSize(void* program, std::size_t* size) { return nvrtcGetCUBINSize(program, size); }
EMULATED int nvrtcGetPTX(void* program, char* code) { return nvrtcGetCUBIN(program, code); }
