extension DType {
    /// The default dtype of weights on a device.
    ///
    /// bfloat16 on a GPU and on processors with instructions for it; other processors would only
    /// spend more time converting.
    public static func suited(to device: Device) -> DType {
        switch device {
        case .cuda: .bfloat16
        case .cpu: Engine.multiplies(.bfloat16) ? .bfloat16 : .float32
        }
    }
}
