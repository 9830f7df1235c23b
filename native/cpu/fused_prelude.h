// Everything that fused_body.h uses from outside, included before a target is selected.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>

#include "core/types.h"
#include "core/workspace.h"
#include "cpu/fused.h"
