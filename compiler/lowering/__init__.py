"""From graph to kernels: fusion, schedules, memory plan."""
