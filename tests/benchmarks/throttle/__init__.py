"""The throttle against rivals, judged by the simulator's limiter, in virtual time."""
