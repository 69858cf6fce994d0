#pragma once
#include "emulation/cub_sort.h"
