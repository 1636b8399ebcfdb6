extension DType {
    /// What weights are converted to unless asked otherwise.
    ///
    /// bfloat16 on a GPU and on processors with instructions for it; others would only convert more.
    public static func suited(to device: Device) -> DType {
        switch device {
        case .cuda: .bfloat16
        case .cpu: Engine.multiplies(.bfloat16) ? .bfloat16 : .float32
        }
    }
}
