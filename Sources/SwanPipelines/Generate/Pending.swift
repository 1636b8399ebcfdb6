import SwanMedia
import Torch
extension GenerationModel { func preview(of l: Tensor) throws -> VideoFrame? { nil } }
