# Checks what a function is given against a table, and turns it into JSON for nixply.
#
# A type is `{ name, convert }`: what is expected in words, and a function from a place and a value to the value as it goes
# into JSON. A place is the beginning of a message up to the end of a name: "f: argument `root.users". Attribute names that are nixply's own are camelCase in Nix and snake_case in JSON; names that
# are the user's (of users, of files) stay as they are.
let
  inherit (builtins) attrNames concatLists concatStringsSep elem elemAt filter foldl' genList head isAttrs isBool isInt isList
    isPath isString length listToAttrs mapAttrs match replaceStrings stringLength substring tail typeOf;

  letters = text: genList (i: substring i 1 text) (stringLength text);
  upper = letters "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
  lower = letters "abcdefghijklmnopqrstuvwxyz";
  toSnakeCase = replaceStrings upper (map (letter: "_${letter}") lower);
  toLower = replaceStrings upper lower;

  kindOf = value:
    if isAttrs value && value ? outPath then "a derivation"
    else {
      bool = "a boolean";
      float = "a float";
      int = "an integer";
      lambda = "a function";
      list = "a list";
      null = "null";
      path = "a path";
      set = "an attribute set";
      string = "a string";
    }.${typeOf value};

  wrong = place: expected: value: throw "${place}` is ${kindOf value}, expected ${expected}";

  # A type that is told by a predicate and goes into JSON as it is.
  simple = name: accepts: {
    inherit name;
    convert = place: value: if accepts value then value else wrong place name value;
  };

  # How many letters have to be changed, added or taken away to make one word of another (Levenshtein's distance).
  distance = a: b:
    let
      least = x: y: if x < y then x else y;
      columns = letters b;
      # One row of the table from the row above it; `row` holds one number more than `b` has letters.
      next = row: letter:
        foldl'
          (done: i: done ++ [
            (least (least (elemAt row (i + 1) + 1) (elemAt done i + 1))
              (elemAt row i + (if elemAt columns i == letter then 0 else 1)))
          ])
          [ (head row + 1) ]
          (genList (i: i) (length columns));
      last = foldl' next (genList (i: i) (length columns + 1)) (letters a);
    in
    elemAt last (length columns);

  # The known name that is most like a wrong one; null where none is like it.
  nearest = known: wrongName:
    let
      near = map (name: { inherit name; distance = distance (toLower wrongName) (toLower name); }) known;
      best = foldl' (best: one: if best == null || one.distance < best.distance then one else best) null near;
    in
    if best != null && best.distance * 3 <= stringLength wrongName + 2 then best.name else null;

  # The same as the end of a message.
  didYouMean = known: wrongName:
    let name = nearest known wrongName;
    in
    if name != null then "; did you mean `${name}`?"
    else if length known <= 12 then "; known are ${concatStringsSep ", " known}" else "";

  # Refuses the first name that is not known. `counterparts` has sentences for names that other tools have.
  onlyKnown = message: counterparts: known: given:
    let
      unknown = filter (name: !(elem name known)) (attrNames given);
      name = head unknown;
    in
    if unknown == [ ] then given
    else throw "${message name}${if counterparts ? ${name} then ": ${counterparts.${name}}" else didYouMean known name}";

  # `name = "x"` of `given` alone where they are there.
  pick = names: given:
    listToAttrs (concatLists (map (name: if given ? ${name} then [{ inherit name; value = given.${name}; }] else [ ]) names));
in
rec {
  inherit didYouMean nearest pick wrong;

  string = simple "a string" isString;
  int = simple "an integer" isInt;
  bool = simple "a boolean" isBool;
  attrs = simple "an attribute set" isAttrs;
  # Whatever JSON can say.
  json = simple "a value" (_: true);

  # Something in the store: a derivation, a path, which is copied there, or a string.
  storePath = {
    name = "a derivation, a path or a string";
    convert = place: value:
      if isString value || isPath value || (isAttrs value && (value ? outPath || value ? __toString))
      then "${value}"
      else wrong place storePath.name value;
  };

  # nixpkgs' `layeringPipeline`: the steps, or a JSON file that has them.
  pipeline = {
    name = "a list of steps or a JSON file";
    convert = place: value:
      if isList value then value
      else if isPath value || isString value || (isAttrs value && value ? outPath)
      then builtins.fromJSON (builtins.readFile value)
      else wrong place pipeline.name value;
  };

  # One of a few words.
  enum = words: {
    name = "one of ${concatStringsSep ", " (map (word: "`${word}`") words)}";
    convert = place: value:
      if elem value words then value
      else if isString value then throw "${place}` is `${value}`, expected ${(enum words).name}"
      else wrong place (enum words).name value;
  };

  # A string of a form, an extended regular expression.
  matching = name: form: {
    inherit name;
    convert = place: value:
      if !isString value then wrong place name value
      else if match form value == null then throw "${place}` is `${value}`, expected ${name}"
      else value;
  };

  nullOr = type: {
    name = "${type.name} or null";
    convert = place: value: if value == null then null else type.convert place value;
  };

  # The first type where a predicate says so, else the second, which is of attribute sets.
  either = chooses: first: second: {
    name = "${first.name} or ${second.name}";
    convert = place: value:
      if chooses value then first.convert place value
      else if isAttrs value then second.convert place value
      else wrong place (either chooses first second).name value;
  };

  listOf = type: {
    name = "a list (each ${type.name})";
    convert = place: value:
      if !isList value then wrong place (listOf type).name value
      else genList (i: type.convert "${place}.${toString i}" (elemAt value i)) (length value);
  };

  # Names are the user's.
  attrsOf = type: {
    name = "an attribute set (each ${type.name})";
    convert = place: value:
      if !isAttrs value || value ? outPath then wrong place (attrsOf type).name value
      else mapAttrs (name: type.convert "${place}.${name}") value;
  };

  # Names are nixply's; those with null are left out.
  record = fields: {
    name = "an attribute set";
    convert = place: value:
      let
        names = attrNames fields;
        known = onlyKnown (name: "${place}` has no attribute `${name}`") { } names value;
        given = filter (name: known ? ${name} && known.${name} != null) names;
      in
      if !isAttrs value || value ? outPath then wrong place "an attribute set" value
      else
        listToAttrs (map
          (name: {
            name = toSnakeCase name;
            value = fields.${name}.convert "${place}.${name}" known.${name};
          })
          given);
  };

  # The arguments of a function: `table` has a type for each, and a `default` where it need not be given. The result has every
  # argument, as it goes into JSON.
  #
  #   arguments "nixply.lib.buildImage" { name = { type = string; }; tag = { type = nullOr string; default = null; }; } given
  arguments = argumentsBeside { };

  # The same with sentences on arguments that other tools' functions of that name have.
  argumentsBeside = counterparts: function: table: given:
    let
      names = attrNames table;
      known = onlyKnown (name: "${function}: there is no argument `${name}`") counterparts names given;
      missing = filter (name: !(table.${name} ? default || known ? ${name})) names;
      checked = mapAttrs (name: table.${name}.type.convert "${function}: argument `${name}") known;
    in
    if !isAttrs given then throw "${function}: the argument is ${kindOf given}, expected an attribute set"
    else if missing != [ ] then builtins.seq known (throw "${function}: argument `${head missing}` is missing")
    else mapAttrs (name: argument: argument.default or null) table // checked;

  # The checked arguments that have a `field`, under that name; those with null are left out.
  fields = table: checked:
    listToAttrs (concatLists (map
      (name:
        if table.${name} ? field && checked.${name} != null
        then [{ name = table.${name}.field; value = checked.${name}; }]
        else [ ])
      (attrNames table)));
}
