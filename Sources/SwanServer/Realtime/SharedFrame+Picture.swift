import SwanMedia
import SwanPipelines
import SwanSystem

extension SharedFrame {
    /// A frame that arrived as a picture, which is decoded when a chunk needs it.
    ///
    /// - Parameter maxPixels: Larger pictures are refused by their header.
    init(_ header: FrameHeader, _ picture: [UInt8], maxPixels: Int) {
        self.init(sequence: header.sequence, captureTime: header.captureTime) {
            try picture.withUnsafeBytes { bytes in
                Result { () throws(SwanError) in
                    switch header.codec {
                    case .jpeg: try JPEG.decode(bytes, maxPixels: maxPixels)
                    case .png: try decodeImage(bytes, name: "the picture", maxPixels: maxPixels)
                    }
                }
            }.get()
        }
    }
}
