#pragma once
#include "emulation/errors.h"
#include "emulation/vectors.h"
#include "emulation/runtime_types.h"
