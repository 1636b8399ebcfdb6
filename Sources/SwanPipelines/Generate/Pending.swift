import SwanMedia
import Torch
extension VideoFrame { func covering(width: Int, height: Int) throws -> VideoFrame { self } }
extension GenerationModel { func preview(of l: Tensor) throws -> VideoFrame? { nil } }
func pictureSize(of p: VideoFrame, area: Int, _ m: GenerationModel) throws -> GenerationRequest.PictureSize { .init(width: p.width, height: p.height) }
