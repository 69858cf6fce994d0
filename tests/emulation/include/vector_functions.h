#pragma once
#include "emulation/vectors.h"
