/// An entry of an event file: TensorBoard's `Event` (compat/proto/event.proto, summary.proto).
enum TrainingEvent: Equatable {
    /// The first event of every file.
    case fileVersion
    /// The start of a new or resumed run at this step: readers discard events of this and later
    /// steps from earlier files.
    case start
    /// Scalars and images.
    case summary([Value])

    /// A point of a curve or an image, with a tag.
    enum Value: Equatable {
        case scalar(tag: String, Float)
        /// An image with a caption in Markdown.
        case image(tag: String, PNGPicture, caption: String)
    }

    /// Encodes the event.
    ///
    /// - Parameters:
    ///   - step: The number of steps done.
    ///   - seconds: The time of the event, in seconds since 1970.
    func message(step: Int, at seconds: Double) -> ProtobufMessage {
        var event = ProtobufMessage()
        event.add(1, seconds)
        if step > 0 { event.add(2, UInt64(step)) }
        switch self {
        case .fileVersion: event.add(3, "brain.Event:2")
        case .start:
            var session = ProtobufMessage()
            session.add(1, 1 as UInt64)  // SessionStatus.START
            event.add(7, session)
        case .summary(let values):
            var summary = ProtobufMessage()
            for value in values { summary.add(1, value.message) }
            event.add(5, summary)
        }
        return event
    }
}

/// An image encoded as PNG.
struct PNGPicture: Equatable {
    /// The size in pixels.
    let width, height: Int
    let bytes: [UInt8]
}

extension TrainingEvent.Value {
    /// `Summary.Value`
    fileprivate var message: ProtobufMessage {
        var value = ProtobufMessage()
        switch self {
        case .scalar(let tag, let number):
            value.add(1, tag)
            value.add(2, number)
            value.add(9, Self.metadata(plugin: "scalars", dataClass: 1))  // DATA_CLASS_SCALAR
        case .image(let tag, let picture, let caption):
            var image = ProtobufMessage()
            image.add(1, UInt64(picture.height))
            image.add(2, UInt64(picture.width))
            image.add(3, 3 as UInt64)  // RGB
            image.add(4, picture.bytes)
            value.add(1, tag)
            value.add(4, image)
            // DATA_CLASS_BLOB_SEQUENCE, without which TensorBoard's fast reader drops the caption.
            value.add(9, Self.metadata(plugin: "images", caption: caption, dataClass: 3))
        }
        return value
    }

    /// `SummaryMetadata`
    private static func metadata(
        plugin name: String,
        caption: String? = nil,
        dataClass: UInt64
    ) -> ProtobufMessage {
        var plugin = ProtobufMessage()
        plugin.add(1, name)
        var metadata = ProtobufMessage()
        metadata.add(1, plugin)
        if let caption { metadata.add(3, caption) }
        metadata.add(4, dataClass)
        return metadata
    }
}
