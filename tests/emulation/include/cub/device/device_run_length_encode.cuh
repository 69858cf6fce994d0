#pragma once
#include "emulation/cub_passes.h"
