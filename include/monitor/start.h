// The table of starting a container. Read it first.
#pragma once

#include <span>

#include "monitor/schedule.h"

namespace caisson {

std::span<const Row> start_rows();

}  // namespace caisson
