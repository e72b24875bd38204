print("warmblk")
