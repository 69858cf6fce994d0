#pragma once
#include "emulation/cub_block.h"
#include "emulation/cub_passes.h"
#include "emulation/cub_sort.h"
