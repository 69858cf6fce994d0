#pragma once
#include "emulation/block.h"
