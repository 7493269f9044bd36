TYPE = "xdp"
DEFAULT = xdp(interface = "eth0")
