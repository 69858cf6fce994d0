#pragma once
#include "emulation/cub_block.h"
